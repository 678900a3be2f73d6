/*
 * The limit: what the same listings cost in plain C, over the same bytes. x86-64, 4 levels, Linux's software entries.
 *
 * A listing is one row for each entry that is not empty and points to no table: address, frame, flags (pagewalk's
 * bits), kind, depth; a run has its size as well. Sources: Intel SDM vol. 3A, 5.5; the encodings of pagewalk.formats.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint8_t u8;

#define P 1ull
#define PS (1ull << 7)
#define G (1ull << 8)
#define ACCESSED_DIRTY 0x60ull /* an entry with only these is empty */
#define FRAME 0x000ffffffffff000ull
#define NO_PADDR (~0ull)
#define RIGHTS 0xfu
#define GLOBAL (1u << 4)
#define REPEATED (1u << 14)
#define OFFSET ((1ull << 50) - 1)

enum { NONE, PRESENT, PROT_NONE, SWAP, MIGRATION, GUARD, UFFD_WP, HWPOISON, OTHER, KINDS };
enum { PGD = 0, PUD = 2, PMD = 3, PTE = 4, DEPTHS = 5 };

struct memory {
	const u8 *bytes; /* physical address 0 */
	u64 size;
};

struct rows {
	u64 *vaddr, *paddr;
	u32 *flags;
	u8 *kind, *depth;
	u64 *size;
	u64 count, room;
	u64 malformed;
	/* Of the last row, and not shown: a frame, or how far into its device a swapped page is; memory type and key, or
	 * the device. Rows that differ in these do not join. */
	u64 place, attributes;
};

static inline u64 sign_extended(u64 vaddr)
{
	return (u64)((int64_t)(vaddr << 16) >> 16);
}

static inline int is_empty(u64 e)
{
	return !(e & ~ACCESSED_DIRTY);
}

/* Eight slots at a time: they are a cache line. */
static inline int nothing_in(const u64 *slots)
{
	u64 any = 0;

	for (int i = 0; i < 8; i++)
		any |= slots[i];
	return !any;
}

static inline u32 table_rights(u64 e)
{
	return (u32)((e & 3) | (e & 4) << 1 | (~e >> 63) << 2);
}

static inline u32 page_flags(u64 e)
{
	return table_rights(e) | (u32)((e & ACCESSED_DIRTY) | (e >> 8 & 1) << 4 | (e >> 9 & 1) << 7 | (e >> 11 & 1) << 8 |
				       (e >> 10 & 1) << 9 | (e >> 58 & 1) << 13);
}

/* What is not present, and not empty: its kind, flags and frame; of swap, its slot as an address, and its type. */
static u8 absent(u64 e, int shift, u32 *flags, u64 *paddr)
{
	u64 type = e >> 59, offset = (e >> 9 & OFFSET) ^ OFFSET;
	u32 swapped = (u32)((e >> 1 & 1) << 8 | (e >> 2 & 1) << 9 | (e >> 3 & 1) << 10);

	*flags = 0;
	*paddr = NO_PADDR;
	if (e & G) {
		*flags = page_flags(e) & ~(RIGHTS | GLOBAL);
		*paddr = ~e & FRAME & ~0ull << shift;
		return PROT_NONE;
	}
	if (type == 31)
		return offset & 4 ? GUARD : offset & 2 ? HWPOISON : offset & 1 ? UFFD_WP : OTHER;
	if (type < 24) {
		*flags = swapped;
		*paddr = offset << 12 | type;
		return SWAP;
	}
	if (type > 27)
		return OTHER;
	*paddr = (offset & ((1ull << 34) - 1)) << 12;
	if (type == 24)
		return HWPOISON;
	*flags = swapped;
	return MIGRATION;
}

static inline const u64 *table_at(const struct memory *m, u64 e)
{
	u64 paddr = e & FRAME;

	return paddr + 4096 <= m->size ? (const u64 *)(m->bytes + paddr) : NULL;
}

static inline u64 place_of(u64 e, u64 paddr, u8 kind)
{
	return kind == SWAP ? ((e >> 9 & OFFSET) ^ OFFSET) << 12 : paddr;
}

static inline u64 attributes_of(u64 e, u8 kind, int shift)
{
	if (kind == SWAP)
		return e >> 59;
	if (kind != PRESENT && kind != PROT_NONE)
		return 0;
	return (e >> 3 & 3) | (e >> (shift == 12 ? 7 : 12) & 1) << 2 | (e >> 59 & 15) << 3;
}

static inline void put_page(struct rows *out, u64 e, u64 vaddr, u64 paddr, u32 flags, u8 kind, u8 depth, int shift)
{
	u64 at = out->count++;

	(void)e, (void)shift;
	if (at >= out->room)
		return;
	out->vaddr[at] = vaddr;
	out->paddr[at] = kind == SWAP ? NO_PADDR : paddr;
	out->flags[at] = flags;
	out->kind[at] = kind;
	out->depth[at] = depth;
}

/* Pages of one frame belong together first (REPEATED); then those whose frames, or swap slots, follow, or none have. */
static inline void put_run(struct rows *out, u64 e, u64 vaddr, u64 paddr, u32 flags, u8 kind, u8 depth, int shift)
{
	u64 at = out->count, span = 1ull << shift, size = span;
	u64 place = place_of(e, paddr, kind), attributes = attributes_of(e, kind, shift);

	if (at && at <= out->room) {
		u64 low = at - 1, frame = out->place, before = out->size[low];
		u32 repeated = out->flags[low] & REPEATED;
		int alike = out->vaddr[low] + before == vaddr && (out->flags[low] & ~REPEATED) == flags &&
			    out->kind[low] == kind && out->depth[low] == depth && out->attributes == attributes;

		if (alike && place != NO_PADDR && place == (repeated ? frame : frame + before - span)) {
			if (repeated || before == span) {
				out->flags[low] |= REPEATED;
				out->size[low] = before + span;
				return;
			}
			out->size[low] = before - span; /* its last page belongs here */
			vaddr -= span;
			size = 2 * span;
			flags |= REPEATED;
		} else if (alike && !repeated &&
			   (frame == NO_PADDR ? place == NO_PADDR : place != NO_PADDR && frame + before == place)) {
			out->size[low] = before + span;
			return;
		}
	}
	if (at < out->room)
		out->size[at] = size;
	out->place = place;
	out->attributes = attributes;
	put_page(out, e, vaddr, paddr, flags, kind, depth, shift);
}

/* One walk for pages and one for runs; the rows are all that differs. */
#define WALK(name, put)                                                                                              \
	static inline void name##_end(struct rows *out, u64 e, u64 vaddr, u32 rights, u8 depth, int shift)           \
	{                                                                                                            \
		u32 flags;                                                                                           \
		u64 paddr;                                                                                           \
		u8 kind;                                                                                             \
                                                                                                                     \
		if (e & P) {                                                                                         \
			put(out, e, vaddr, e & FRAME & ~0ull << shift, page_flags(e) & rights, PRESENT, depth,       \
			    shift);                                                                                  \
			return;                                                                                      \
		}                                                                                                    \
		kind = absent(e, shift, &flags, &paddr);                                                             \
		put(out, e, vaddr, paddr, flags, kind, depth, shift);                                                \
	}                                                                                                            \
                                                                                                                     \
	static void name##_pte(struct rows *out, const u64 *table, u64 vaddr, u32 rights)                            \
	{                                                                                                            \
		for (int first = 0; first < 512; first += 8) {                                                       \
			if (nothing_in(table + first))                                                               \
				continue;                                                                            \
			for (int i = first; i < first + 8; i++)                                                      \
				if (!is_empty(table[i]))                                                             \
					name##_end(out, table[i], vaddr + ((u64)i << 12), rights, PTE, 12);          \
		}                                                                                                    \
	}                                                                                                            \
                                                                                                                     \
	static void name##_upper(const struct memory *m, struct rows *out, const u64 *table, u64 base, u32 rights,   \
				 int shift)                                                                          \
	{                                                                                                            \
		u8 depth = shift == 39 ? PGD : shift == 30 ? PUD : PMD;                                              \
                                                                                                                     \
		for (int i = 0; i < 512; i++) {                                                                      \
			u64 e = table[i], vaddr = sign_extended(base + ((u64)i << shift));                           \
			const u64 *below;                                                                            \
                                                                                                                     \
			if (is_empty(e))                                                                             \
				continue;                                                                            \
			if (!(e & P) || (shift < 39 && e & PS)) {                                                    \
				name##_end(out, e, vaddr, rights, depth, shift);                                     \
				continue;                                                                            \
			}                                                                                            \
			below = table_at(m, e);                                                                      \
			if (!below)                                                                                  \
				out->malformed++;                                                                    \
			else if (shift == 21)                                                                        \
				name##_pte(out, below, vaddr, rights & (table_rights(e) | ~RIGHTS));                 \
			else                                                                                         \
				name##_upper(m, out, below, vaddr, rights & (table_rights(e) | ~RIGHTS), shift - 9); \
		}                                                                                                    \
	}                                                                                                            \
                                                                                                                     \
	void name(const struct memory *m, u64 root, struct rows *out)                                                \
	{                                                                                                            \
		const u64 *top = table_at(m, root);                                                                  \
                                                                                                                     \
		out->count = out->malformed = 0;                                                                     \
		if (top)                                                                                             \
			name##_upper(m, out, top, 0, ~0u, 39);                                                       \
		else                                                                                                 \
			out->malformed = 1;                                                                          \
	}

WALK(list_pages, put_page)
WALK(list_runs, put_run)

static void count_table(const struct memory *m, const u64 *table, int shift, u64 counts[KINDS][DEPTHS])
{
	int depth = shift == 39 ? PGD : shift == 30 ? PUD : shift == 21 ? PMD : PTE;

	for (int i = 0; i < 512; i++) {
		u64 e = table[i], paddr;
		const u64 *below;
		u32 flags;

		if (!(i & 7) && nothing_in(table + i)) {
			i += 7;
			continue;
		}
		if (is_empty(e))
			continue;
		if (!(e & P))
			counts[absent(e, shift, &flags, &paddr)][depth]++;
		else if (shift == 12 || (shift < 39 && e & PS))
			counts[PRESENT][depth]++;
		else if ((below = table_at(m, e)))
			count_table(m, below, shift - 9, counts);
	}
}

/* How many entries of each kind at each depth. */
void count(const struct memory *m, u64 root, u64 counts[KINDS][DEPTHS])
{
	memset(counts, 0, sizeof(u64) * KINDS * DEPTHS);
	count_table(m, table_at(m, root), 39, counts);
}

/* Where addresses lead: pages that are present or PROT_NONE. */
void translate(const struct memory *m, u64 root, const u64 *vaddrs, u64 n, u64 *paddrs, u8 *mapped)
{
	for (u64 i = 0; i < n; i++) {
		u64 vaddr = vaddrs[i], e = root | P;
		int shift = 48;

		do {
			const u64 *table = table_at(m, e);

			shift -= 9;
			e = table ? table[vaddr >> shift & 511] : 0;
		} while (e & P && shift > 12 && !(shift < 39 && e & PS));
		mapped[i] = (e & P) || (e & G);
		paddrs[i] = mapped[i] ? ((e & P ? e : ~e) & FRAME & ~0ull << shift) | (vaddr & ((1ull << shift) - 1)) : NO_PADDR;
	}
}

/* Fill the empty slots of [start, end) with a constant; tables come from *next on. Returns how many were filled. */
u64 install(u8 *bytes, u64 root, u64 start, u64 end, u64 value, u64 *next)
{
	u64 filled = 0;

	for (u64 vaddr = start; vaddr < end;) {
		u64 *table = (u64 *)(bytes + root), stop = (vaddr | 0x1fffff) + 1;

		for (int shift = 39; shift > 12; shift -= 9) {
			u64 *slot = table + (vaddr >> shift & 511);

			if (!*slot) {
				memset(bytes + *next, 0, 4096);
				*slot = *next | 0x67;
				*next += 4096;
			}
			table = (u64 *)(bytes + (*slot & FRAME));
		}
		stop = stop < end ? stop : end;
		for (; vaddr < stop; vaddr += 4096) {
			u64 *slot = table + (vaddr >> 12 & 511);

			if (!*slot) {
				*slot = value;
				filled++;
			}
		}
	}
	return filled;
}

/* Write a byte to each page. */
void touch(volatile u8 *first, u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		first[i << 12] = 1;
}
