"""The admin API, `/admin/v1/*`: what the operator changes, for keys of the operator's account only."""
