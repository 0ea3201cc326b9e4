"""What a training leaves behind: run folders, model folders, and their files."""
