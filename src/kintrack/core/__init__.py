"""What things are: detections, tracks, clips, pixels. numpy and scipy: no torch, no files."""
