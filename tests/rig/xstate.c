/*
 * Loaded into a kernel in user mode (LD_PRELOAD), which has a fixed buffer for a program's registers (arch/x86/um, HOST_FP_SIZE). On a
 * processor with more state than that, such as one with AMX, the host refuses to set less than all of it (PTRACE_SETREGSET with
 * NT_X86_XSTATE), and the first program dies. Here what the kernel gives is put above what the host has.
 *
 * The state beyond the buffer is not kept when the node changes from one program to another: AMX is not for programs there.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* Where the header of the state begins, with the bits of the components that it holds (Intel SDM, volume 1, 13.4.2). */
#define HEADER 512
/* Components 0 to 9 are those that fit into the kernel's buffer; 8 belongs to the supervisor. */
#define FITTING 0x2ffUL

static char state[64 * 1024];

static long set_registers(pid_t pid, struct iovec *given)
{
	struct iovec whole = { state, sizeof state };
	unsigned long held;

	if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &whole) < 0)
		return -1;
	if (whole.iov_len <= given->iov_len)
		return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, given);
	memcpy(state, given->iov_base, given->iov_len);
	memcpy(&held, state + HEADER, sizeof held);
	held &= FITTING;
	memcpy(state + HEADER, &held, sizeof held);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list arguments;
	pid_t pid;
	void *address, *data;
	long result, word;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	if (request == PTRACE_SETREGSET && (unsigned long)address == NT_X86_XSTATE)
		return set_registers(pid, data);
	/* The C library's own returns what these read; the system call writes it (ptrace(2)). */
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return syscall(SYS_ptrace, request, pid, address, data);
	result = syscall(SYS_ptrace, request, pid, address, &word);
	if (result < 0)
		return result;
	errno = 0;
	return word;
}
