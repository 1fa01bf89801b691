# sluice_room(DIR NAME): sets DIR to an include directory in which only the room NAME can be found.
# A room gets those of the rooms it may know, so an include in a forbidden direction does not compile:
#
#   ngx_module -> common <- daemon

function(sluice_room dir name)
  set(room "${CMAKE_BINARY_DIR}/rooms/${name}")
  file(MAKE_DIRECTORY "${room}")
  file(CREATE_LINK "${CMAKE_SOURCE_DIR}/${name}" "${room}/${name}" SYMBOLIC)
  set(${dir} "${room}" PARENT_SCOPE)
endfunction()
