"""The captured step: one real step becomes a list of calls, shorter, and is replayed."""
