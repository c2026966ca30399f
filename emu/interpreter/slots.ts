/** Slots of the function table, for handlers and regions; a power of two. */
export const TABLE_SLOTS = 65536;
/** Slot of the handler that enters a region in its middle. */
export const ENTER_HANDLER = TABLE_SLOTS - 1;
/** First slot of regions; below are the interpreter's handlers. */
export const FIRST_REGION = 16384;
