"""Batches that outgrow one process: stores, the manifest, shards, and the engines that draw."""
