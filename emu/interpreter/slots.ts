/** Slots of the interpreter's table of handlers. */
export const HANDLER_SLOTS = 16384;
/** Slot of the handler of records that were dropped: it leaves at once. */
export const STALE_HANDLER = 0;
/** Slot of the handler that enters a region. */
export const ENTER_HANDLER = HANDLER_SLOTS - 1;
/** Slot of the handler of a dropped record that leads to the one in its place. */
export const FORWARD_HANDLER = HANDLER_SLOTS - 2;
/** Slot of the first handler that is no instruction's; the others begin at 0. */
export const FIRST_SPECIAL_HANDLER = FORWARD_HANDLER;
/** Slots of the table of regions; a power of two. */
export const REGION_SLOTS = 65536;
/** Slot 0 means that there is no region. */
export const FIRST_REGION = 1;
