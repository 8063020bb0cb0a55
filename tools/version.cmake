# Writes OUT, the C file that says what was built; touches it only when something changed.
#   cmake -D SOURCE=FOLDER -D OUT=version.c -D VERSION=1.2.3 -D BUILD="compiler, flags" -P version.cmake
set(commit unknown)
find_program(GIT git)
if(GIT)
    execute_process(COMMAND ${GIT} -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude * OUTPUT_VARIABLE answer
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
    if(NOT failed)
        set(commit ${answer})
    endif()
endif()
file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT [[
/* Written by tools/version.cmake. */
#include "base/version.h"
const char version_number[] = "@VERSION@";
const char version_commit[] = "@commit@";
const char version_build[] = "@BUILD@";
]])
