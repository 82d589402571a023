"""What deconvolution starts from: tables of a project, CODEFACS, labels of other tools, single cells."""
