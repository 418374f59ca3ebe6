def pair_table(c): return ""
def terminal_table(s): return ""
def write(*a): pass
