"""From core objects to tensors: features, crops, windows. The only place where numpy becomes torch."""
