# nginx's headers, configured. A module is accepted by load_module only if it was compiled with the
# same feature flags as the server (they become its signature), so with Debian's nginx-dev this runs
# nginx's own configure with Debian's own flags, as Debian's module packages do.

set(nginx_objs "${SLUICE_NGINX_OBJS}")
if(NOT nginx_objs)
  set(nginx_objs "${CMAKE_BINARY_DIR}/nginx-objs")
  if(NOT EXISTS "${SLUICE_NGINX_SRC}/conf_flags")
    message(FATAL_ERROR
      "No ${SLUICE_NGINX_SRC}/conf_flags: install nginx-dev (apt-get install nginx-dev), or name a "
      "configured tree with -DSLUICE_NGINX_SRC=<source> -DSLUICE_NGINX_OBJS=<its objs folder>")
  endif()
  file(MD5 "${SLUICE_NGINX_SRC}/src/core/nginx.h" nginx_version_hash)
  set(nginx_stamp "${nginx_objs}/configured-${nginx_version_hash}")
  if(NOT EXISTS "${nginx_stamp}")
    message(STATUS "Configuring nginx's headers in ${nginx_objs}")
    execute_process(
      COMMAND bash -c ". ./conf_flags && ./configure \"\${NGX_CONF_FLAGS[@]}\" --builddir=${nginx_objs}"
      WORKING_DIRECTORY "${SLUICE_NGINX_SRC}"
      OUTPUT_VARIABLE nginx_configure_log ERROR_VARIABLE nginx_configure_log
      RESULT_VARIABLE nginx_configure_result)
    if(NOT nginx_configure_result EQUAL 0)
      message(FATAL_ERROR "nginx's configure failed:\n${nginx_configure_log}")
    endif()
    file(TOUCH "${nginx_stamp}")
  endif()
endif()
if(NOT EXISTS "${nginx_objs}/ngx_auto_config.h")
  message(FATAL_ERROR "No ngx_auto_config.h in ${nginx_objs}: is SLUICE_NGINX_OBJS a configured tree's objs?")
endif()

add_library(nginx_headers INTERFACE)
target_include_directories(nginx_headers SYSTEM INTERFACE "${nginx_objs}")
foreach(dir core event event/modules event/quic os/unix http http/modules http/v2 http/v3)
  if(IS_DIRECTORY "${SLUICE_NGINX_SRC}/src/${dir}")
    target_include_directories(nginx_headers SYSTEM INTERFACE "${SLUICE_NGINX_SRC}/src/${dir}")
  endif()
endforeach()
