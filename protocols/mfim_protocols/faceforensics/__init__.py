"""FaceForensics++ (Rössler et al., ICCV 2019; github.com/ondyari/FaceForensics) as its download script leaves it."""
