"""Where the runs of a study are made: in this process, in several of this machine, or by Slurm."""
