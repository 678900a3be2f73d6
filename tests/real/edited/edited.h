/* What the parts of the guest's only program share. */
#ifndef EDITED_H
#define EDITED_H

#include <stddef.h>
#include <stdint.h>

extern size_t page; /* bytes in a page */

/* say.c: lines on the console */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_frames(const char *at, size_t bytes);
void say_log(void);
void forget_log(void);

/* hands.c: threads that obey, one a CPU */
void make_hands(char *controls, size_t count);
void obey(char *controls) __attribute__((noreturn));

#endif
