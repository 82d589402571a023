"""The demo cohort: patients with a hidden truth, their painted and scanned slides."""
