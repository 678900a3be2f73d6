/* As arm64.S, from a boot loader that leaves protected mode on and paging off; LONG: in 64-bit mode, else in 32-bit.
 * The mailbox: cr0, cr3, cr4, efer, pat, the number of accesses; and each of them. The page behind it is the stack's
 * and the interrupt table's.
 */

	.set	TOP, MAILBOX + 0x8000
	.set	IDT, MAILBOX + 0x9000

	.code32
	.balign	4
header:	.long	0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
	.long	header, START, 0, 0, _start

	.globl	_start
_start:	cli
	lgdt	pointer
	movl	MAILBOX + 16, %eax
	movl	%eax, %cr4
	movl	MAILBOX + 8, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx
	movl	MAILBOX + 24, %eax
	andl	$~0x400, %eax
	xorl	%edx, %edx
	wrmsr
	movl	$0x277, %ecx
	movl	MAILBOX + 32, %eax
	movl	MAILBOX + 36, %edx
	wrmsr
	movl	MAILBOX, %eax
	movl	%eax, %cr0
	ljmp	$8, $begin

#ifdef LONG
	.code64
#define A rax
#define B rbx
#define C rcx
#define D rdx
#define SI rsi
#define DI rdi
#define SP rsp
#define GATE 16
#else
#define A eax
#define B ebx
#define C ecx
#define D edx
#define SI esi
#define DI edi
#define SP esp
#define GATE 8
#endif

begin:	movl	$16, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$IDT, %edi
	movl	$32, %ecx
gate:	movl	$trap, %eax
	movw	%ax, 0(%DI)
	movw	$8, 2(%DI)
	movw	$0x8e00, 4(%DI)
	shrl	$16, %eax
	movw	%ax, 6(%DI)
	addl	$GATE, %edi
	decl	%ecx
	jnz	gate
	movl	$table, %eax
	lidt	(%A)

	movl	$MAILBOX + 48, %esi
	movl	MAILBOX + 40, %edi
next:	movl	$TOP, %esp
	testl	%edi, %edi
	jz	report
	mov	8(%SI), %B
	mov	16(%SI), %A
	cmpl	$1, (%SI)
	je	2f
	ja	3f
	mov	8(%B), %A
	jmp	store
2:	mov	%A, 8(%B)
	jmp	store
3:	call	*%B
	jmp	store
trap:	mov	$FAULT, %A
store:	mov	%A, 16(%SI)
	addl	$24, %esi
	decl	%edi
	jmp	next

report:	movl	$MAILBOX + 64, %esi
	movl	MAILBOX + 40, %edi
	movl	$0x3f8, %edx
line:	testl	%edi, %edi
	jz	done
	movl	$7, %ebx
digit:	movb	(%SI, %B), %ah
	movb	%ah, %al
	shrb	$4, %al
	movl	$2, %ecx
1:	andb	$15, %al
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	2f
	addb	$'a' - '0' - 10, %al
2:	outb	%al, %dx
	movb	%ah, %al
	decl	%ecx
	jnz	1b
	decl	%ebx
	jns	digit
	movb	$'\n', %al
	outb	%al, %dx
	addl	$24, %esi
	decl	%edi
	jmp	line
done:	movb	$'.', %al
	outb	%al, %dx
	movb	$'\n', %al
	outb	%al, %dx
stop:	hlt
	jmp	stop

	.balign	8
gdt:	.quad	0
#ifdef LONG
	.quad	0x00af9b000000ffff
#else
	.quad	0x00cf9b000000ffff
#endif
	.quad	0x00cf93000000ffff
pointer: .word	23
	.long	gdt
	.balign	8
table:	.word	32 * GATE - 1
	.long	IDT, 0
