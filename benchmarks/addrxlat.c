/*
 * libkdumpfile's addrxlat over a flat memory: the pages of a range, a page at a time, as its interface has it. A hole is
 * passed over as a whole: the number of steps that remained tells its size.
 */
#include <libkdumpfile/addrxlat.h>
#include <stddef.h>
#include <stdint.h>

struct memory {
	const uint8_t *bytes; /* physical address 0 */
	uint64_t size;
};

static void put_page(const addrxlat_buffer_t *buf)
{
	(void)buf;
}

static addrxlat_status get_page(const addrxlat_cb_t *cb, addrxlat_buffer_t *buf)
{
	const struct memory *m = cb->priv;

	buf->addr.addr &= ~(addrxlat_addr_t)0xfff;
	if (buf->addr.addr + 4096 > m->size)
		return ADDRXLAT_ERR_NODATA;
	buf->ptr = m->bytes + buf->addr.addr;
	buf->size = 4096;
	buf->byte_order = ADDRXLAT_HOST_ENDIAN;
	buf->put_page = put_page;
	return ADDRXLAT_OK;
}

static unsigned long read_caps(const addrxlat_cb_t *cb)
{
	(void)cb;
	return ADDRXLAT_CAPS(ADDRXLAT_MACHPHYSADDR);
}

/* One address: its frame, and how many levels were left at its last entry. */
static inline addrxlat_status walk(addrxlat_step_t *step, uint64_t vaddr, unsigned *left)
{
	addrxlat_status status = addrxlat_launch(step, vaddr);

	*left = 5;
	while (status == ADDRXLAT_OK && step->remain) {
		if (step->remain > 1)
			*left = step->remain;
		status = addrxlat_step(step);
	}
	return status;
}

/* Fill vaddr and paddr with the pages in [start, end), of which there may be room. */
static int64_t find(addrxlat_step_t *step, uint64_t start, uint64_t end, uint64_t *vaddr, uint64_t *paddr, int64_t room)
{
	static const int shift[] = { 0, 0, 12, 21, 30, 39 };
	int64_t count = 0;
	unsigned left;

	for (uint64_t at = start; at < end; at = (at | ((1ull << shift[left]) - 1)) + 1) {
		addrxlat_status status = walk(step, at, &left);

		if (status == ADDRXLAT_ERR_NOTPRESENT) {
			addrxlat_ctx_clear_err(step->ctx);
			continue;
		}
		if (status != ADDRXLAT_OK || count == room)
			return -1;
		vaddr[count] = at;
		paddr[count++] = step->base.addr;
	}
	return count;
}

/* Fill paddr with the frames of count pages. */
static int64_t tell(addrxlat_step_t *step, const uint64_t *vaddr, uint64_t *paddr, int64_t count)
{
	unsigned left;

	for (int64_t at = 0; at < count; at++) {
		if (walk(step, vaddr[at], &left) != ADDRXLAT_OK)
			return -1;
		paddr[at] = step->base.addr;
	}
	return count;
}

/* The pages of [start, end); if that is empty, of the addresses in vaddr. Returns how many, or -1. */
int64_t list(const struct memory *m, uint64_t root, uint64_t start, uint64_t end, uint64_t *vaddr, uint64_t *paddr,
	     int64_t room)
{
	addrxlat_meth_t meth = {
		.kind = ADDRXLAT_PGT,
		.target_as = ADDRXLAT_MACHPHYSADDR,
		.param.pgt = {
			.root = { .addr = root, .as = ADDRXLAT_MACHPHYSADDR },
			.pf = { .pte_format = ADDRXLAT_PTE_X86_64, .nfields = 5, .fieldsz = { 12, 9, 9, 9, 9 } },
		},
	};
	addrxlat_ctx_t *ctx = addrxlat_ctx_new();
	addrxlat_cb_t *cb = ctx ? addrxlat_ctx_add_cb(ctx) : NULL;
	addrxlat_step_t step = { .ctx = ctx, .meth = &meth };
	int64_t count = -1;

	if (cb) {
		cb->priv = (void *)m;
		cb->get_page = get_page;
		cb->read_caps = read_caps;
		count = start < end ? find(&step, start, end, vaddr, paddr, room) : tell(&step, vaddr, paddr, room);
	}
	if (ctx)
		addrxlat_ctx_decref(ctx);
	return count;
}
