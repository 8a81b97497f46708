"""What autolog costs: side by side with bare training, in one run."""
