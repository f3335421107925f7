"""Pictures of tracks: overlays on frames, and trajectories on paper. numpy and Pillow alone; opens no file."""
