"""Response to chemotherapy from predicted expression: patients, feature sets, classifiers, scores, tables."""
