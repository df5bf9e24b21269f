"""Images, audio and video on their way in and out: fetched, recognised, decoded, encoded, kept for a while."""
