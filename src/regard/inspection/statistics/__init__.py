"""Statistics of whole maps in little memory: of calls, of a run, of a corpus, of a training."""
