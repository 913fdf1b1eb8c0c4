/*
 * Preloaded into fsx, which has no option for it: opens the file under test past the page cache.
 * FUSE asks for no alignment of direct reads and writes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int open64(const char *path, int flags, ...) {
  static int (*next)(const char *, int, ...);
  const char *name = getenv("FSX_DIRECT");
  va_list rest;
  va_start(rest, flags);
  mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (!next) {
    next = dlsym(RTLD_NEXT, "open64");
  }
  if (name && strcmp(path, name) == 0) {
    flags |= O_DIRECT;
  }
  return next(path, flags, mode);
}
