"""One picture or many, by one call: generate, plan, reproduce, batches."""
