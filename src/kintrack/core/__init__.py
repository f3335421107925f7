"""What things are: detections, tracks, clips, pixels. numpy alone: no torch, no files."""
