"""From raw frames to upright face crops: frames, detector, tracking, alignment.

Nothing here needs torch or MMAction2.
"""
