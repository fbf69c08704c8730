"""LoRA adapters: what one is, PEFT folders in and out, and the store by content hash."""
