# As arm64.S; translation is on in supervisor mode, and faults are taken in machine mode, which has none.
# The mailbox: satp, three words of nothing, the number of accesses; and each of them.

	.option	norvc
	.globl	_start
_start:	li	t0, -1
	csrw	pmpaddr0, t0
	li	t0, 0x1f
	csrw	pmpcfg0, t0
	lla	t0, trap
	csrw	mtvec, t0
	li	s4, MAILBOX
	ld	t0, 0(s4)
	csrw	satp, t0
	sfence.vma
	li	t0, 0x1800
	csrc	mstatus, t0
	li	t0, 0x0800
	csrs	mstatus, t0
	lla	t0, super
	csrw	mepc, t0
	mret

	.balign	4
trap:	csrw	mepc, s3
	mret

super:	ld	s1, 32(s4)
	addi	s2, s4, 40
	lla	s3, fault
next:	beqz	s1, report
	ld	t0, 0(s2)
	ld	t1, 8(s2)
	ld	t2, 16(s2)
	li	t3, 1
	beq	t0, t3, 2f
	bgt	t0, t3, 3f
	ld	t2, 8(t1)
	j	store
2:	sd	t2, 8(t1)
	j	store
3:	jalr	t1
	j	store
fault:	li	t2, FAULT
store:	sd	t2, 16(s2)
	addi	s2, s2, 24
	addi	s1, s1, -1
	j	next

report:	li	t5, UART
	ld	s1, 32(s4)
	addi	s2, s4, 56
line:	beqz	s1, done
	ld	t0, 0(s2)
	li	t1, 60
digit:	srl	t2, t0, t1
	andi	t2, t2, 15
	li	t3, 10
	bltu	t2, t3, 1f
	addi	t2, t2, 'a' - '0' - 10
1:	addi	t2, t2, '0'
	sb	t2, 0(t5)
	addi	t1, t1, -4
	bgez	t1, digit
	li	t2, '\n'
	sb	t2, 0(t5)
	addi	s2, s2, 24
	addi	s1, s1, -1
	j	line
done:	li	t2, '.'
	sb	t2, 0(t5)
	li	t2, '\n'
	sb	t2, 0(t5)
stop:	wfi
	j	stop
