"""Reading and writing images and video: one place where files become uint8 RGB arrays, and back."""
