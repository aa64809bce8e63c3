"""FL Studio's files: finding its user data, installing the scripts, writing clips for the piano roll."""
