"""One study on a workspace: select, plan, run, judge, report. The command line sits on this layer.

Nothing here prints or ends the process: progress goes to an `Observer`, trouble is an exception.
"""
