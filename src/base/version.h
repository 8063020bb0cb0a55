/* version.h - what was built, from which sources, and how.  The build writes the values (tools/version.cmake). */
#ifndef VERSION_H
#define VERSION_H

extern const char version_number[]; /* "0.1.0"                                                            */
extern const char version_commit[]; /* "1a2b3c4d5e6f", with "-dirty" behind it, or "unknown" without git  */
extern const char version_build[];  /* compiler, its version and flags                                    */
#endif
