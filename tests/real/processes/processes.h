/* What the parts of the guest's program share that plays processes. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <stddef.h>

extern size_t page; /* bytes in a page */

/* Where each process has a page of its own, that begins with its number. */
#define MARK ((char *)0x10000000)

/* kinds.c: the processes there are; each kind never returns. */
void start_all(long areas);

/* tell.c: lines on the console that begin with "@". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_tasks(const char *word);
void say_areas(void);

#endif
