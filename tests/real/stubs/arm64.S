// Turns the MMU on with the registers it is given, tries each access that it is asked for, and says over the UART what
// became of it. Nothing but this page, the mailbox behind it and the UART is used: all three are mapped to themselves.
//
// The mailbox: ttbr0, ttbr1, tcr, mair, the number of accesses; and of each: 0 read, 1 write, 2 call; address; result.
// What is read and written are the 8 bytes behind the address; what is called is the instruction at it.

	.globl	_start
_start:	ldr	x20, =MAILBOX
	adr	x0, vectors
	msr	vbar_el1, x0
	ldp	x0, x1, [x20]
	msr	ttbr0_el1, x0
	msr	ttbr1_el1, x1
	ldp	x0, x1, [x20, #16]
	msr	tcr_el1, x0
	msr	mair_el1, x1
	isb
	tlbi	vmalle1
	dsb	sy
	isb
	mrs	x0, sctlr_el1
	orr	x0, x0, #1
	msr	sctlr_el1, x0
	isb
	ldr	x21, [x20, #32]
	add	x22, x20, #40
	adr	x23, fault

next:	cbz	x21, report
	ldp	x0, x1, [x22]
	ldr	x2, [x22, #16]
	cmp	x0, #1
	b.lo	1f
	b.eq	2f
	blr	x1
	b	store
1:	ldr	x2, [x1, #8]
	b	store
2:	str	x2, [x1, #8]
	b	store
fault:	ldr	x2, =FAULT
store:	str	x2, [x22, #16]
	add	x22, x22, #24
	sub	x21, x21, #1
	b	next

report:	ldr	x5, =UART
	ldr	x21, [x20, #32]
	add	x22, x20, #56
line:	cbz	x21, done
	ldr	x0, [x22], #24
	mov	x1, #16
digit:	ror	x0, x0, #60
	and	w2, w0, #15
	cmp	w2, #10
	add	w3, w2, #'0'
	add	w2, w2, #'a' - 10
	csel	w2, w3, w2, lo
	str	w2, [x5]
	sub	x1, x1, #1
	cbnz	x1, digit
	mov	w2, #'\n'
	str	w2, [x5]
	sub	x21, x21, #1
	b	line
done:	mov	w2, #'.'
	str	w2, [x5]
	mov	w2, #'\n'
	str	w2, [x5]
stop:	wfi
	b	stop

	.balign	2048
vectors:
	.rept	16
	msr	elr_el1, x23
	eret
	.balign	128
	.endr
	.ltorg
