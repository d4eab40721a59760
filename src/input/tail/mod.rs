//! Follows files: finds them, reads them as they grow, survives rotation and truncation.
