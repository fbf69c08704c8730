"""The rules: a block and a state in, a state out. Pure, integers only, no clock."""
