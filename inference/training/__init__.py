"""LoRA fine-tuning on the records of a Datanet, repeatable from its receipt."""
