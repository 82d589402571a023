"""How the plan is carried out: by job arrays of Slurm, or on this machine."""
