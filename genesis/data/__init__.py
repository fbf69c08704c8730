"""Hold the example Datanets, the training corpus and the scripts that extract both."""
