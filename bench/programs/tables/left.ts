// What is left to do for more than one program, in the table's words.

/** bbolt's, and of what keeps its data in bbolt. */
export const COHERENCE =
  "bbolt writes its file through the descriptor and reads it through a shared mapping, which does not see the new bytes";
