"""Downloads from the Genomic Data Commons: files, barcodes, which of them are used."""
