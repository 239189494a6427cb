"""What judges a decoded wave, by itself or beside its reference: functions of waves that evaluation and training share."""
