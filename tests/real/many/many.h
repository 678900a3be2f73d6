/* What the parts of the program of many processes share. */
#ifndef MANY_H
#define MANY_H

#include <stddef.h>
#include <stdint.h>

extern size_t page; /* bytes in a page */

/* A line on the console. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* lives.c: what process number so-and-so does with its memory; then it writes a byte to a pipe, and spins for ever */
enum { LIVES = 24 };
void live(int number, char *program, int done) __attribute__((noreturn));
void spin(int done) __attribute__((noreturn));

/* noise.c: a file of so many MiB, of all that could be mistaken for page tables, or of what few fakes are among */
void make_noise(long megabytes, int few_fakes, uint64_t first, uint64_t bytes);

#endif
