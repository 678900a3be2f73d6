/* What the parts of the guest's only program share. */
#ifndef GUEST_H
#define GUEST_H

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

extern size_t page;  /* bytes in a page */
extern size_t block; /* bytes in a transparent huge page */

/* say.c: a line on the console, and the state of the address space in such lines */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_address_space(void);
void say_symbols(void);
int open_pagemap(void);

/* files.c: small files of /proc and /sys */
int put(const char *path, const char *text);
long number_in(const char *path, long otherwise);
void load(const char *path);

/* plant.c: everything to look at */
void plant_all(void);
char *ground(size_t bytes, size_t align, int protection, int flags, int file);
void fill(char *at);

/* marks.c, huge.c, swap.c: what takes more than a line. Each returns an errno, 0 if it is there. */
int protect_written(char *at, size_t bytes);
int protect_untouched(char *at, size_t bytes);
int protect_access(char *at, size_t bytes);
void plant_hugetlb(void);
void plant_multi_size(void);
int swap_on(void);

/* obey.c: commands through a page of memory */
void make_control(void);
void obey(void) __attribute__((noreturn));

/* Where a signal goes: if (!attempt()) { what may fault } else the signal's number is in caught. */
extern sigjmp_buf landing;
extern volatile int caught;
void catch_signals(void);
#define attempt() (caught = 0, sigsetjmp(landing, 1))

#endif
