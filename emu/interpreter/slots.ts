/** Slots of the interpreter's table of handlers. */
export const HANDLER_SLOTS = 16384;
/** Slot of the handler that enters a region: the last; the others begin at 0. */
export const ENTER_HANDLER = HANDLER_SLOTS - 1;
/** Slots of the table of regions; a power of two. */
export const REGION_SLOTS = 65536;
/** Slot 0 means that there is no region. */
export const FIRST_REGION = 1;
