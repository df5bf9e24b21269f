"""A replay of requests through the real control plane, on a clock that jumps: what would a policy have done?"""
