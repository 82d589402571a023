"""What deconvolution leaves: tables, report, labels for training."""
