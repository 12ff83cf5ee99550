"""What comes with a GPU: NVIDIA's reports, its verdicts on them, and its reference manifests."""
