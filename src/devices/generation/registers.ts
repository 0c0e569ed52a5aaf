/** `microsoft,vmgenid`: 16 bytes that name this life of the machine, and an interrupt when they have changed (Linux drivers/virt/vmgenid.c). */
export const ID_BYTES = 16;
